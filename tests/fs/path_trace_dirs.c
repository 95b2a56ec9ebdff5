/*
 * The operations of path_trace on directories. The option list=MODE says how
 * readdir lists:
 *     all      every entry with the offset 0, without attributes (the default)
 *     attrs    the same with attributes that may be incomplete
 *     plus     the same with complete ones
 *     offs, offsplus
 *              each entry with an offset of its own
 *     mixed    one entry with an offset, then one without
 *     mixed0   the other way round
 *     flags    with a flag that there is not
 *     fails    one entry, then an error
 *     many     MANY entries that are not there, with the offset 0
 *     manyoffs the same with offsets
 *     growing  each listing from the start has one entry more
 */
#include "path_trace.h"

#define MANY 10000

/* The open directories. The releasedir of the last one may never come: nobody waits
 * for it, and then the mount is gone. What is known here is not lost. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static DIR *directories[256];

/* Puts `to` in the place of `from`, where there is one. */
static void replace(DIR *from, DIR *to)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		if (directories[i] == from) {
			directories[i] = to;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

static int op_opendir(const char *path, struct fuse_file_info *fi)
{
	DIR *dir;
	int res = fails("opendir", path);

	note("opendir", "path=%s%s", shown(path), file(fi));
	if (res)
		return res;
	dir = opendir(below(path));
	if (!dir)
		return -errno;
	replace(NULL, dir);
	fi->fh = (uintptr_t)dir;
	fi->cache_readdir = strstr(path, "cached") != NULL;
	return 0;
}

static int fill(void *buf, fuse_fill_dir_t filler, const char *name,
		const struct stat *attr, off_t off, unsigned flags)
{
	int full = filler(buf, name, attr, off, flags);

	if (full)
		note("full", "name=%s off=%lld", name, (long long)off);
	return full;
}

static int made_up(void *buf, fuse_fill_dir_t filler, off_t off, int with_offsets)
{
	char name[32];

	for (long i = off; i < MANY; i++) {
		struct stat attr = { .st_ino = 100 + i, .st_mode = S_IFREG | 0600 };

		snprintf(name, sizeof(name), "entry%ld", i);
		if (fill(buf, filler, name, &attr, with_offsets ? i + 1 : 0, 0))
			break;
	}
	return 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t filler,
		      off_t off, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	const char *mode = settings.list ? settings.list : "all";
	unsigned plus = strstr(mode, "plus") ? FUSE_FILL_DIR_PLUS : 0;
	DIR *dir = (DIR *)(uintptr_t)fi->fh;
	struct dirent *entry;
	static int growing;

	note("readdir", "path=%s off=%lld flags=%d fh=%d", shown(path),
	     (long long)off, flags, fi->fh != 0);
	if (strncmp(mode, "many", 4) == 0)
		return made_up(buf, filler, off, strcmp(mode, "manyoffs") == 0);
	if (strcmp(mode, "growing") == 0) {
		char name[32];

		growing++;
		for (int i = 0; i < growing; i++) {
			snprintf(name, sizeof(name), "entry%d", i);
			filler(buf, name, NULL, 0, 0);
		}
		return 0;
	}
	if (strncmp(mode, "mixed", 5) == 0) {
		int first = mode[5] != '0';
		int one = filler(buf, "one", NULL, first ? 7 : 0, 0);
		int two = filler(buf, "two", NULL, first ? 0 : 7, 0);

		note("mixed", "one=%d two=%d", one, two);
		return 0;
	}
	if (strcmp(mode, "flags") == 0) {
		note("filled", "result=%d", filler(buf, "one", NULL, 0, 64));
		return 0;
	}
	if (strcmp(mode, "fails") == 0) {
		filler(buf, "one", NULL, 0, 0);
		return -EREMOTE;
	}
	seekdir(dir, off);
	while ((entry = readdir(dir)) != NULL) {
		struct stat attr, *known = &attr;
		memset(&attr, 0, sizeof(attr));
		if (plus) {
			if (fstatat(dirfd(dir), entry->d_name, &attr,
				    AT_SYMLINK_NOFOLLOW) != 0)
				continue;
		} else if (strcmp(mode, "all") == 0) {
			known = NULL;
		} else {
			attr.st_ino = entry->d_ino;
			attr.st_mode = entry->d_type << 12;
		}
		if (fill(buf, filler, entry->d_name, known,
			 strncmp(mode, "offs", 4) == 0 ? entry->d_off : 0, plus))
			break;
	}
	return 0;
}

static int op_releasedir(const char *path, struct fuse_file_info *fi)
{
	note("releasedir", "path=%s fh=%d", shown(path), fi->fh != 0);
	replace((DIR *)(uintptr_t)fi->fh, NULL);
	closedir((DIR *)(uintptr_t)fi->fh);
	return 0;
}

static int op_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
	note("fsyncdir", "path=%s datasync=%d fh=%d", shown(path), datasync,
	     fi->fh != 0);
	return fails("fsyncdir", path);
}

void path_dir_ops(struct fuse_operations *ops)
{
	ops->opendir = op_opendir;
	ops->readdir = op_readdir;
	ops->releasedir = op_releasedir;
	ops->fsyncdir = op_fsyncdir;
}
