/* The module `upper` as a shared object of its own: libfusemod_loud.so. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse.h>

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path_upper.h"

FUSE_REGISTER_MODULE(loud, upper_new);
