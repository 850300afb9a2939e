/*
 * The version is defined by the Makefile for this file alone: a new commit
 * compiles nothing else.
 */
#include "lib/base/version.h"

const char shunt_version[] = SHUNT_VERSION;
