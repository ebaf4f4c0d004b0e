# The toolchains of every target, the fixtures they build, and the test suite, in three stages.
#
#     docker build --target toolchain -t relink-toolchain .    compilers and linkers only
#     docker build --target fixtures  -t relink-fixtures .     ... and the fixtures built with them
#     docker build -t relink-emu .                             ... and the project, ready to be tested
#     docker run --rm --network none relink-emu pytest -n auto
#
# Everything comes from Debian 13 by release name; its point releases do not change compilers. What was really
# installed is written to /usr/share/relink-emu/packages.tsv, and the fixtures' manifests name their
# compilers. Nothing here names a mirror: a host that needs one passes its sources and pip's configuration as
# build secrets (`python -m toolchains image` does), which leave no trace in the image.

ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS toolchain
LABEL org.opencontainers.image.title="relink-emu toolchain" \
      org.opencontainers.image.description="Debian 13: gcc 14 and binutils 2.44 for every target, clang 19, lld 19, qemu-user" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim" \
      org.relink-emu.debian="13 (trixie)" \
      org.relink-emu.gcc="14" \
      org.relink-emu.clang="19"
ENV LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# RISC-V 32 has no packages: the riscv64 compiler builds for it. The libcs are for the dynamic linkers.
RUN --mount=type=secret,id=apt_sources --mount=type=secret,id=ca_bundle \
    set -eu; \
    sources=/run/secrets/apt_sources; bundle=/run/secrets/ca_bundle; options=""; \
    if [ -s "$sources" ]; then \
        if grep -q '^Types:' "$sources"; then kind=sources; else kind=list; fi; \
        cp "$sources" "/tmp/relink.$kind"; chmod 644 "/tmp/relink.$kind"; \
        options="-o Dir::Etc::sourcelist=/tmp/relink.$kind -o Dir::Etc::sourceparts=/dev/null"; fi; \
    if [ -s "$bundle" ]; then \
        cp "$bundle" /tmp/relink.crt; chmod 644 /tmp/relink.crt; \
        options="$options -o Acquire::https::CaInfo=/tmp/relink.crt"; fi; \
    apt-get $options -q -o APT::Update::Error-Mode=any update; \
    apt-get $options -q install -y --no-install-recommends \
        make ca-certificates xz-utils \
        gcc-x86-64-linux-gnu g++-x86-64-linux-gnu \
        gcc-i686-linux-gnu g++-i686-linux-gnu \
        gcc-aarch64-linux-gnu g++-aarch64-linux-gnu \
        gcc-arm-linux-gnueabihf g++-arm-linux-gnueabihf \
        gcc-riscv64-linux-gnu g++-riscv64-linux-gnu \
        gcc-loongarch64-linux-gnu g++-loongarch64-linux-gnu \
        libc6-dev-amd64-cross libc6-dev-i386-cross libc6-dev-arm64-cross libc6-dev-armhf-cross \
        libc6-dev-riscv64-cross libc6-dev-loong64-cross \
        clang-19 lld-19 llvm-19 qemu-user \
        python3 python3-venv python3-pyelftools python3-typer python3-rich; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /tmp/relink.*; \
    mkdir -p /usr/share/relink-emu; \
    dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' > /usr/share/relink-emu/packages.tsv
RUN useradd --create-home --uid 1000 relink && install -d -o relink -g relink /project
WORKDIR /project
USER relink

FROM toolchain AS fixtures
COPY --chown=relink:relink toolchains toolchains
COPY --chown=relink:relink arch_fixtures arch_fixtures
# Builds what these compilers make otherwise than what is committed says; normally nothing is.
RUN python3 -m toolchains build --engine local --compiler gcc \
 && python3 -m toolchains check --engine local --compiler gcc

FROM fixtures AS test
COPY --chown=relink:relink pyproject.toml README.md LICENSE-APACHE LICENSE-MIT NOTICE ./
COPY --chown=relink:relink relink relink
COPY --chown=relink:relink emu emu
ENV VIRTUAL_ENV=/home/relink/venv PATH=/home/relink/venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/lib/llvm-19/bin \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN --mount=type=secret,id=pip_conf,uid=1000 --mount=type=secret,id=ca_bundle,uid=1000 \
    set -eu; \
    if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi; \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    python3 -m venv "$VIRTUAL_ENV"; \
    pip install --quiet --editable '.[test,lint]'; \
    pip freeze --exclude-editable > "$VIRTUAL_ENV/packages.txt"
COPY --chown=relink:relink . .
CMD ["pytest", "-n", "auto"]
