dnl SPDX-License-Identifier: MIT
dnl For authors of Weir modules. In configure.ac:
dnl
dnl     AC_PROG_CC
dnl     LT_INIT([disable-static])
dnl     WEIR_MODULE([1.0])
dnl
dnl and in Makefile.am:
dnl
dnl     module_LTLIBRARIES = hello.la
dnl     hello_la_SOURCES = hello.c
dnl     hello_la_CFLAGS = $(WEIR_CFLAGS)
dnl     hello_la_LDFLAGS = $(WEIR_LDFLAGS)
dnl     hello_la_LIBADD = $(WEIR_LIBS)

# WEIR_MODULE([MINIMUM-VERSION], [ACTION-IF-FOUND], [ACTION-IF-NOT-FOUND])
#
# Finds the installed Weir with pkg-config (PKG_CONFIG_PATH says where else to look) and sets
#   WEIR_CFLAGS   its headers; everything hidden but what WEIR_EXPORT marks
#   WEIR_LDFLAGS  for libtool: a module, without undefined symbols
#   WEIR_LIBS     libweir
#   moduledir     where Weir looks for modules; --with-weir-moduledir=DIR overrides it
# Without ACTION-IF-NOT-FOUND configure stops with what to install.
AC_DEFUN([WEIR_MODULE], [
    AC_REQUIRE([AC_PROG_CC])
    AC_REQUIRE([PKG_PROG_PKG_CONFIG])
    AC_ARG_WITH([weir-moduledir], [AS_HELP_STRING([--with-weir-moduledir=DIR],
        [install modules there @<:@where the installed Weir looks@:>@])],
        [], [with_weir_moduledir=])
    PKG_CHECK_MODULES([WEIR], [m4_ifval([$1], [weir >= $1], [weir])], [
        moduledir="$with_weir_moduledir"
        AS_IF([test -z "$moduledir"], [moduledir=`$PKG_CONFIG --variable=moduledir weir`])
        WEIR_CFLAGS="$WEIR_CFLAGS -fvisibility=hidden -fno-plt"
        WEIR_LDFLAGS="-module -avoid-version -shared -no-undefined -Wl,-z,defs"
        AC_SUBST([WEIR_LDFLAGS])
        AC_SUBST([moduledir])
        $2
    ], [m4_default([$3], [AC_MSG_ERROR([m4_ifval([$1], [Weir $1 or newer], [Weir]) not found.
Install it with its headers; if it is in a prefix of its own, set PKG_CONFIG_PATH=PREFIX/lib/pkgconfig.])])])
])
