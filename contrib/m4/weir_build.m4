dnl SPDX-License-Identifier: MIT
dnl Flags and libraries of Weir's own build. Module authors use weir.m4.

dnl WEIR_CC_FLAGS(VARIABLE, FLAG...): appends to VARIABLE each flag that the compiler takes.
AC_DEFUN([WEIR_CC_FLAGS], [
    for weir_flag in m4_normalize([$2]); do
        AC_MSG_CHECKING([whether $CC takes $weir_flag])
        weir_saved="$CFLAGS"
        CFLAGS="$CFLAGS -Werror $weir_flag"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
            [AC_MSG_RESULT([yes]); $1="$$1 $weir_flag"], [AC_MSG_RESULT([no])])
        CFLAGS="$weir_saved"
    done
])

AC_DEFUN([WEIR_WARNINGS], [
    WEIR_WARN_CFLAGS=
    WEIR_CC_FLAGS([WEIR_WARN_CFLAGS], [-Wall -Wextra -Wshadow -Wconversion -Wsign-conversion
        -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wvla -Wundef -Wcast-qual
        -Wpointer-arith -Wwrite-strings -Wswitch-enum -Wimplicit-fallthrough -Wdouble-promotion
        -Wthread-safety])
    AS_IF([test "$enable_werror" = yes], [WEIR_WARN_CFLAGS="$WEIR_WARN_CFLAGS -Werror"])
    AC_SUBST([WEIR_WARN_CFLAGS])
])

dnl _FORTIFY_SOURCE wants optimisation and gets in the sanitizers' way.
AC_DEFUN([WEIR_HARDENING], [
    WEIR_HARD_CFLAGS=
    WEIR_HARD_LDFLAGS=
    AS_IF([test "$enable_hardening" = yes], [
        WEIR_CC_FLAGS([WEIR_HARD_CFLAGS], [-fstack-protector-strong -fstack-clash-protection -fcf-protection])
        AS_IF([test "$enable_asan$enable_tsan" = nono], [
            AS_CASE([" $CFLAGS "], [*" -O0 "*], [],
                [WEIR_HARD_CFLAGS="$WEIR_HARD_CFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])])
        WEIR_HARD_LDFLAGS="-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack"
    ])
    AC_SUBST([WEIR_HARD_CFLAGS])
    AC_SUBST([WEIR_HARD_LDFLAGS])
])

dnl llhttp: a system library when pkg-config knows one (9.2.1 or newer is strict by default),
dnl else the C sources that Debian 12 ships in node-llhttp, compiled strict where they lie.
AC_DEFUN([WEIR_LLHTTP], [
    AC_ARG_WITH([llhttp], [AS_HELP_STRING([--with-llhttp=DIR],
        [compile llhttp from the sources in DIR @<:@a system libllhttp, else /usr/share/llhttp@:>@])],
        [], [with_llhttp=auto])
    LLHTTP_SRC=
    AS_IF([test "$with_llhttp" = auto], [
        PKG_CHECK_MODULES([LLHTTP], [libllhttp >= 9.2.1],
            [LLHTTP_WHERE="system library"], [with_llhttp=/usr/share/llhttp])
    ])
    AS_IF([test "$with_llhttp" != auto], [
        AS_IF([test -r "$with_llhttp/llhttp.c"], [],
            [AC_MSG_ERROR([no llhttp: install libllhttp-dev (9.2.1 or newer) or node-llhttp, or give --with-llhttp=DIR])])
        LLHTTP_SRC="$with_llhttp"
        LLHTTP_INCLUDE="$with_llhttp/../include/llhttp"
        AS_IF([test -r "$LLHTTP_INCLUDE/llhttp.h"], [], [LLHTTP_INCLUDE="$with_llhttp"])
        LLHTTP_CFLAGS="-isystem $LLHTTP_INCLUDE -DLLHTTP_STRICT_MODE=1"
        LLHTTP_LIBS=
        LLHTTP_WHERE="$with_llhttp, strict"
    ])
    AC_SUBST([LLHTTP_SRC])
    AC_SUBST([LLHTTP_CFLAGS])
    AC_SUBST([LLHTTP_LIBS])
    AM_CONDITIONAL([LLHTTP_SOURCES], [test -n "$LLHTTP_SRC"])

    dnl Its sources look at 16 bytes of a value at a time where they are compiled for SSE 4.2. They
    dnl are compiled both ways then, and the processor is asked.
    llhttp_sse42=no
    AS_IF([test -n "$LLHTTP_SRC" && grep -q __SSE4_2__ "$LLHTTP_SRC/llhttp.c"], [
        AC_MSG_CHECKING([whether SSE 4.2 can be chosen at run time])
        weir_save_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS -msse4.2"
        AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <nmmintrin.h>]],
            [[return __builtin_cpu_supports("sse4.2") && _mm_crc32_u8(0, 0);]])], [llhttp_sse42=yes])
        CFLAGS=$weir_save_CFLAGS
        AC_MSG_RESULT([$llhttp_sse42])
    ])
    AS_IF([test "$llhttp_sse42" = yes], [
        AC_DEFINE([WEIR_LLHTTP_SSE42], [1], [llhttp is compiled twice, with SSE 4.2 and without.])
        LLHTTP_WHERE="$LLHTTP_WHERE, with SSE 4.2 where the processor has it"
    ])
    AM_CONDITIONAL([LLHTTP_SSE42], [test "$llhttp_sse42" = yes])
])
