# The headers as the reference shows them: with the declarations of every
# FUSE_USE_VERSION at once. Conditions on the version around declarations are
# dropped; those inside of one are left for doxygen to decide, and so are all
# others. Aliases of a function's forms (`#define f f_31`) are dropped, because
# the form that they stand for is there by its own name.
# Structures that only the library knows become empty ones, because doxygen has no
# pages for others. Lines keep their numbers.

function is_version(line) {
    return line ~ /^#[ \t]*(if|ifdef|ifndef)[ \t!]/ && line ~ /FUSE_USE_VERSION|LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS/ && line !~ /ifndef FUSE_USE_VERSION/
}

{ lines[NR] = $0 }

END {
    depth = 0
    for (n = 1; n <= NR; n++) {
        line = lines[n]
        if (line ~ /^#[ \t]*if/) {
            # A tab begins the next line of a declaration that is under way.
            dropped[++depth] = is_version(line) && lines[n + 1] !~ /^\t/
            print dropped[depth] ? "" : line
        } else if (line ~ /^#[ \t]*(elif|else)/) {
            print dropped[depth] ? "" : line
        } else if (line ~ /^#[ \t]*endif/) {
            print dropped[depth--] ? "" : line
        } else if (line ~ /^_Static_assert/) {
            print ""
        } else if (line ~ /^#define fuse_[a-z_]+ fuse_[a-z_]+_[0-9]+$/) {
            print ""
        } else if (line ~ /^struct [a-z_]+;$/ && lines[n - 1] ~ /\*\/$/) {
            sub(/;$/, " { };", line)
            print line
        } else {
            print line
        }
    }
}
