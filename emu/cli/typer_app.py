"""The command line with Typer: help, and command lines that `quick` does not read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, NoReturn, get_origin, get_type_hints

import typer

from emu.cli.command import COMMANDS, Argument, Exit, Option, Usage
from relink.records import fields, is_dataclass

_HELP = "Load, link and run ELF shared objects and object files of seven architectures on an emulated machine."
#: click's exceptions, from the click that this version of Typer uses.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def refuse(arguments: Sequence[str], error: Usage) -> NoReturn:
    """Raise the error of a command as Typer's `UsageError`, which has the command's usage."""

    @wraps(COMMANDS[arguments[0]].function)
    def refused(**values: Any) -> None:
        raise error

    _run(_app(arguments[0], refused), arguments)
    raise AssertionError(f"{arguments} was refused by Typer only once") from error


def invoke(arguments: Sequence[str]) -> int:
    """Like click's `main`, but without its handling of failures."""
    return _run(_app(arguments[0] if arguments else ""), arguments)


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        command = typer.main.get_command(app)
        with command.make_context("relink-emu", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return 0


def _app(asked: str = "", function: Callable[..., None] | None = None) -> typer.Typer:
    """The Typer application with the command `asked`, or with all commands if there is none of that name. To make
    all of them takes longer than most commands run. `function` is run instead of that command's.
    """
    app = typer.Typer(
        name="relink-emu",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, command in COMMANDS.items() if asked not in COMMANDS else ((asked, COMMANDS[asked]),):
        required = any(isinstance(mark, Argument) for hint in _hints(command.function) for mark in _marks(hint))
        settings = {} if command.options_anywhere else {"allow_interspersed_args": False}
        made = expand(function or command.function)
        app.command(name, no_args_is_help=required, context_settings=settings)(made)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("relink-emu")
        except PackageNotFoundError:
            found = "(source, not installed)"
        typer.echo(f"relink-emu {found}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _hints(function: Callable[..., None]) -> list[Any]:
    return list(get_type_hints(function, include_extras=True).values())


def _marks(hint: Any) -> tuple[Any, ...]:
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def _for_typer(hint: Any) -> Any:
    """An annotation with Typer's option or argument."""
    for mark in _marks(hint):
        if isinstance(mark, Option):
            return Annotated[hint.__origin__, typer.Option(*mark.names, **mark.settings)]
        if isinstance(mark, Argument):
            return Annotated[hint.__origin__, typer.Argument(**mark.settings)]
    return hint


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with each parameter of a dataclass type replaced by the fields of the class, for Typer."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    members = {name: [f for f in fields(group) if f.init] for name, group in groups.items()}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            parameters.append(parameter.replace(annotation=_for_typer(hints[parameter.name])))
            continue
        types = get_type_hints(groups[parameter.name], include_extras=True)
        parameters += [
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=_for_typer(types[f.name])
            )
            for f in members[parameter.name]
        ]

    @wraps(command)
    def expanded(**values: Any) -> None:
        try:
            for name, group in groups.items():
                values[name] = group(**{f.name: values.pop(f.name) for f in members[name]})
            command(**values)
        except Usage as error:
            raise typer.BadParameter(str(error), param_hint=error.param_hint) from None
        except Exit as done:
            raise typer.Exit(done.status) from None

    expanded.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded
