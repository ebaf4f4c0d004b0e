/* Before binary.h is included for another format. */
#undef TOP
#undef BIAS
#undef SIGN
#undef HIDDEN_BIT
#undef INF
#undef QUIET
#undef LEADING
#undef DEFAULT_NAN
