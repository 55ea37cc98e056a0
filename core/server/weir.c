/* SPDX-License-Identifier: MIT */
/* The program is the library: see main.c. */
#include "server/main.h"

int
main(int argc, char **argv)
{
    return weir_main(argc, argv);
}
