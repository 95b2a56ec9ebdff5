/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs_data.h: the contents of one file, sparse.
 *
 * A file is a sorted array of chunks; where there is no chunk there is a hole.
 * A chunk holds up to 16 pages in one piece of memory and knows which of them
 * are there, so that holes are exact to the page.
 *
 * Two things always hold: memory of a chunk that is no page of the file is
 * zero, and so is everything past the end of the file (the owner of the size
 * calls data_punch() when it shrinks). The caller locks.
 */
#ifndef EXAMPLES_MEMFS_DATA_H
#define EXAMPLES_MEMFS_DATA_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096u
#define CHUNK_PAGES 16u
#define CHUNK_BYTES (PAGE_BYTES * CHUNK_PAGES)

struct chunk {
	uint64_t index;     /* it starts at index * CHUNK_BYTES */
	char *bytes;
	uint32_t capacity;  /* size of `bytes`; the rest of the chunk is a hole */
	uint32_t present;   /* one bit per page */
};

struct data {
	struct chunk *chunks;
	size_t count, room;
	uint64_t pages;
};

/* Pages in use by all files, and how many they may use. */
static struct {
	atomic_uint_fast64_t used;
	uint64_t limit;
} memory;

static inline bool memory_take(uint64_t pages)
{
	if (atomic_fetch_add(&memory.used, pages) + pages <= memory.limit)
		return true;
	atomic_fetch_sub(&memory.used, pages);
	return false;
}

/* The first chunk at or after `index`, as a position in the array. */
static inline size_t data_find(const struct data *data, uint64_t index)
{
	size_t low = 0, high = data->count;

	if (high > 0 && data->chunks[high - 1].index < index)
		return high;  /* the usual case: appending */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (data->chunks[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline struct chunk *data_chunk(const struct data *data, uint64_t index)
{
	size_t at = data_find(data, index);

	return at < data->count && data->chunks[at].index == index ? &data->chunks[at] : NULL;
}

/* The bits of pages `first` to `last` of a chunk. */
static inline uint32_t page_bits(uint32_t first, uint32_t last)
{
	return (UINT32_MAX << first) & (UINT32_MAX >> (31 - last));
}

/* The bits of those pages of chunk `index` that [from, to) touches. */
static inline uint32_t touched_pages(uint64_t index, uint64_t from, uint64_t to)
{
	uint64_t start = index * CHUNK_BYTES;
	uint32_t first = from > start ? (from - start) / PAGE_BYTES : 0;
	uint32_t last = to < start + CHUNK_BYTES ? (to - 1 - start) / PAGE_BYTES : CHUNK_PAGES - 1;

	return page_bits(first, last);
}

/* The piece of [off, off + length) that starts at `off` and is in one piece in
 * memory, or is all hole (`*bytes` NULL). Returns its length. */
static inline size_t data_piece(const struct data *data, uint64_t off, size_t length, char **bytes)
{
	struct chunk *chunk = data_chunk(data, off / CHUNK_BYTES);
	size_t at = off % CHUNK_BYTES;
	size_t end = chunk && at < chunk->capacity ? chunk->capacity : CHUNK_BYTES;

	*bytes = chunk && at < chunk->capacity ? chunk->bytes + at : NULL;
	return length < end - at ? length : end - at;
}

/* Makes the pages `bits` of chunk `index` exist; 0 or an errno. */
static inline int chunk_reserve(struct data *data, uint64_t index, uint32_t bits)
{
	size_t at = data_find(data, index);
	uint32_t capacity = PAGE_BYTES;
	struct chunk *chunk;

	if (at == data->count || data->chunks[at].index != index) {
		if (data->count == data->room) {
			size_t room = data->room ? data->room * 2 : 1;
			struct chunk *bigger = realloc(data->chunks, room * sizeof(*bigger));

			if (bigger == NULL)
				return ENOMEM;
			data->chunks = bigger;
			data->room = room;
		}
		memmove(&data->chunks[at + 1], &data->chunks[at], (data->count - at) * sizeof(*chunk));
		data->chunks[at] = (struct chunk){ .index = index };
		data->count++;
	}
	chunk = &data->chunks[at];
	while (bits >> (capacity / PAGE_BYTES))
		capacity *= 2;
	if (capacity > chunk->capacity) {
		char *bytes = realloc(chunk->bytes, capacity);

		if (bytes == NULL)
			return ENOMEM;
		memset(bytes + chunk->capacity, 0, capacity - chunk->capacity);
		chunk->bytes = bytes;
		chunk->capacity = capacity;
	}
	data->pages += __builtin_popcount(bits & ~chunk->present);
	chunk->present |= bits;
	return 0;
}

/* Makes all pages of [off, off + length) exist; 0 or an errno. */
static inline int data_reserve(struct data *data, uint64_t off, uint64_t length)
{
	uint64_t end = off + length;
	uint64_t missing = 0, before = data->pages;
	int error = 0;

	if (length == 0)
		return 0;
	if (length / PAGE_BYTES > memory.limit)
		return ENOSPC;
	for (uint64_t i = off / CHUNK_BYTES; i <= (end - 1) / CHUNK_BYTES; i++) {
		struct chunk *chunk = data_chunk(data, i);

		missing += __builtin_popcount(touched_pages(i, off, end) & ~(chunk ? chunk->present : 0));
	}
	if (missing > 0 && !memory_take(missing))
		return ENOSPC;
	for (uint64_t i = off / CHUNK_BYTES; i <= (end - 1) / CHUNK_BYTES && !error; i++)
		error = chunk_reserve(data, i, touched_pages(i, off, end));
	atomic_fetch_sub(&memory.used, missing - (data->pages - before));
	return error;
}

/* Makes [off, end) a hole: whole pages go, the rest of it becomes zero. */
static inline void data_punch(struct data *data, uint64_t off, uint64_t end)
{
	size_t from = data_find(data, off / CHUNK_BYTES);
	size_t kept = from;
	size_t i;

	if (off >= end || from == data->count)
		return;
	for (i = from; i < data->count && data->chunks[i].index * CHUNK_BYTES < end; i++) {
		struct chunk *chunk = &data->chunks[i];
		uint64_t start = chunk->index * CHUNK_BYTES;
		uint64_t zero_from = off > start ? off - start : 0;
		uint64_t zero_to = end - start < chunk->capacity ? end - start : chunk->capacity;
		uint32_t first = (zero_from + PAGE_BYTES - 1) / PAGE_BYTES;
		uint32_t past = (end - start < CHUNK_BYTES ? end - start : CHUNK_BYTES) / PAGE_BYTES;

		if (zero_from < zero_to)
			memset(chunk->bytes + zero_from, 0, zero_to - zero_from);
		if (first < past) {
			uint32_t gone = chunk->present & page_bits(first, past - 1);

			chunk->present &= ~gone;
			data->pages -= __builtin_popcount(gone);
			atomic_fetch_sub(&memory.used, __builtin_popcount(gone));
		}
		if (chunk->present == 0)
			free(chunk->bytes);
		else
			data->chunks[kept++] = *chunk;
	}
	memmove(&data->chunks[kept], &data->chunks[i], (data->count - i) * sizeof(*data->chunks));
	data->count -= i - kept;
	if (data->count == 0) {
		free(data->chunks);
		*data = (struct data){ .chunks = NULL };
	}
}

/* The first byte at or after `off`, below `size`, that is data (or hole, if not
 * `want_data`). `size` counts as hole; past it, and for data that never comes, -1. */
static inline int64_t data_seek(const struct data *data, uint64_t off, uint64_t size, bool want_data)
{
	while (off < size) {
		uint64_t index = off / CHUNK_BYTES;
		size_t at = data_find(data, index);

		if (at == data->count || data->chunks[at].index != index) {
			if (!want_data)
				return off;
			if (at == data->count)
				return -1;
			off = data->chunks[at].index * CHUNK_BYTES;
		} else {
			uint32_t page = off % CHUNK_BYTES / PAGE_BYTES;

			if (((data->chunks[at].present >> page) & 1) == want_data)
				return off;
			off = (off / PAGE_BYTES + 1) * PAGE_BYTES;
		}
	}
	return want_data ? -1 : (int64_t)size;
}

#endif
