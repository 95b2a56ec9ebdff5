// The filesystem of note_ll.c in C++11, by the path API and fuse_main(), for any
// FUSE_USE_VERSION from 30 to 319. Errors are exceptions, which end in the callback.
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 35
#endif

#include <fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>

#include "note.h"

namespace {

[[noreturn]] void fail(int error)
{
	throw std::system_error(error, std::generic_category());
}

// What a callback returns: what `f` does, or the error that it throws.
template <typename F> int guarded(F f)
{
	try {
		return f();
	} catch (const std::system_error &error) {
		return -error.code().value();
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	}
}

class Notes {
public:
	// Of the mount whose callback this is.
	static Notes &mine()
	{
		return *static_cast<Notes *>(fuse_get_context()->private_data);
	}

	int getattr(const std::string &path, struct stat &st)
	{
		st = {};
		st.st_nlink = 1;
		if (path == "/") {
			st.st_mode = S_IFDIR | 0755;
			st.st_nlink = 2;
		} else if (path == "/about") {
			st.st_mode = S_IFREG | 0444;
		} else if (path == "/note") {
			std::lock_guard<std::mutex> guard(lock);
			st.st_mode = S_IFREG | 0644;
			st.st_size = static_cast<off_t>(text.size());
		} else {
			fail(ENOENT);
		}
		return 0;
	}

	int read(const std::string &path, char *buf, size_t size, off_t off)
	{
		std::lock_guard<std::mutex> guard(lock);
		const std::string all = path == "/note" ? text : about();
		try {
			const std::string part = all.substr(static_cast<size_t>(off), size);
			std::copy(part.begin(), part.end(), buf);
			return static_cast<int>(part.size());
		} catch (const std::out_of_range &) {
			return 0;
		}
	}

	int write(const std::string &path, const char *buf, size_t size, off_t off)
	{
		std::lock_guard<std::mutex> guard(lock);
		if (path != "/note")
			fail(EBADF);
		const size_t end = static_cast<size_t>(off) + size;
		if (end > sizeof(note::text))
			fail(EFBIG);
		if (text.size() < end)
			text.resize(end);
		text.replace(static_cast<size_t>(off), size, buf, size);
		return static_cast<int>(size);
	}

	int truncate(const std::string &path, off_t length)
	{
		std::lock_guard<std::mutex> guard(lock);
		if (path != "/note")
			fail(EACCES);
		text.resize(static_cast<size_t>(length));
		return 0;
	}

	int flush()
	{
		std::lock_guard<std::mutex> guard(lock);
		flushes++;
		return 0;
	}

	uint32_t length()
	{
		std::lock_guard<std::mutex> guard(lock);
		return static_cast<uint32_t>(text.size());
	}

private:
	std::string about() const
	{
		return std::string(NOTE_LANGUAGE " path, FUSE_USE_VERSION ") +
		       std::to_string(FUSE_USE_VERSION) + ", flushes " + std::to_string(flushes) +
		       "\n";
	}

	std::mutex lock;
	std::string text;
	int flushes = 0;
};

// The type of an ioctl's command: int up to FUSE_USE_VERSION 34, unsigned int since.
template <typename Command>
Command command_of(int (*)(const char *, Command, void *, fuse_file_info *, unsigned int, void *));

fuse_operations operations()
{
	fuse_operations ops = {};

	ops.init = [](fuse_conn_info *, fuse_config *cfg) -> void * {
		cfg->attr_timeout = 0;
		return fuse_get_context()->private_data;
	};
	ops.getattr = [](const char *path, struct stat *st, fuse_file_info *) {
		return guarded([&] { return Notes::mine().getattr(path, *st); });
	};
	ops.truncate = [](const char *path, off_t length, fuse_file_info *) {
		return guarded([&] { return Notes::mine().truncate(path, length); });
	};
	ops.open = [](const char *path, fuse_file_info *fi) {
		fi->direct_io = fi->noflush = std::strcmp(path, "/about") == 0;
		return 0;
	};
	ops.read = [](const char *path, char *buf, size_t size, off_t off, fuse_file_info *) {
		return guarded([&] { return Notes::mine().read(path, buf, size, off); });
	};
	ops.write = [](const char *path, const char *buf, size_t size, off_t off, fuse_file_info *) {
		return guarded([&] { return Notes::mine().write(path, buf, size, off); });
	};
	ops.flush = [](const char *, fuse_file_info *) { return Notes::mine().flush(); };
	ops.readdir = [](const char *, void *buf, fuse_fill_dir_t fill, off_t, fuse_file_info *,
			 fuse_readdir_flags) {
		for (const char *name : { ".", "..", "about", "note" })
			fill(buf, name, nullptr, 0, fuse_fill_dir_flags(0));
		return 0;
	};
	ops.ioctl = [](const char *path, decltype(command_of(ops.ioctl)) cmd, void *,
		       fuse_file_info *, unsigned int, void *data) {
		return guarded([&] {
			const uint32_t length = Notes::mine().length();
			if (static_cast<unsigned int>(cmd) != NOTE_LENGTH ||
			    std::strcmp(path, "/note") != 0)
				fail(ENOTTY);
			std::memcpy(data, &length, sizeof(length));
			return 0;
		});
	};
	return ops;
}

} // namespace

int main(int argc, char *argv[])
{
	const fuse_operations ops = operations();
	Notes notes;

	return fuse_main(argc, argv, &ops, &notes);
}
