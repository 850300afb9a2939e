/*
 * log - one line per event on stderr: time, level, program, event, key=value.
 *
 * error: a person must act; warn: we recover by ourselves; info: the life of a
 * task or a daemon; debug: off unless SHUNT_LOG=debug. Text from outside goes
 * through %s with LOG_TEXT, which escapes and shortens it.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_LOG_H
#define LIB_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Sets the program's name for every line and reads SHUNT_LOG. The name is not
 * copied. */
void log_open(const char *program);
void log_level_set(enum log_level least);
bool log_enabled(enum log_level level);

void log_line(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* A buffer for escaped text from outside; one for each %s. */
struct log_text {
    char s[256];
};

/* Text with quotes, controls and bytes above 126 escaped, cut at 200. */
const char *log_text(struct log_text *buf, const char *text);
#define LOG_TEXT(text) log_text(&(struct log_text){{0}}, (text))

#endif
