/* What the filesystems of this directory share: the note, and what `about` says. */
#ifndef NOTE_H
#define NOTE_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#define NOTE_LENGTH _IOR('n', 1, unsigned int)
#define NOTE_ABOUT "%s %s, FUSE_USE_VERSION %d, flushes %d\n"
/* In seconds: what statx says where the API has it. */
#define NOTE_BORN 1000000000

#ifdef __cplusplus
#define NOTE_LANGUAGE "C++"
#else
#define NOTE_LANGUAGE "C"
#endif

struct note {
	char text[65536];
	size_t length;
	int flushes;
};

/* Several threads may flush. */
static inline void note_flush(struct note *note)
{
	__atomic_fetch_add(&note->flushes, 1, __ATOMIC_SEQ_CST);
}

static inline int note_resize(struct note *note, off_t length)
{
	if (length < 0 || (size_t)length > sizeof(note->text))
		return EFBIG;
	if ((size_t)length > note->length)
		memset(note->text + note->length, 0, length - note->length);
	note->length = length;
	return 0;
}

static inline size_t note_about(char *text, size_t size, const char *api, int version,
				const struct note *note)
{
	return snprintf(text, size, NOTE_ABOUT, NOTE_LANGUAGE, api, version,
			__atomic_load_n(&note->flushes, __ATOMIC_SEQ_CST));
}

#endif
