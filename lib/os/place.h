/*
 * place - who runs where: a token that two processes share if they belong to
 * the same user and see the same root of the same machine's file system. Names
 * of hosts do not tell: containers share them.
 *
 * Thread: any.
 */
#ifndef LIB_OS_PLACE_H
#define LIB_OS_PLACE_H

enum { PLACE_SIZE = 32 };

/* "<uid>@<hash>". */
const char *place_here(char out[PLACE_SIZE]);

#endif
