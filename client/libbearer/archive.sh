# INPUT.a OUTPUT.a: the same as one object, of which only what is not hidden can be linked with
objects=$(mktemp "${TMPDIR:-/tmp}/bearer.XXXXXX")
trap 'rm -f "$objects"' EXIT
ld -r -o "$objects" --whole-archive "$1"
objcopy --localize-hidden "$objects"
rm -f "$2"
dir=$(mktemp -d "${TMPDIR:-/tmp}/bearer.XXXXXX")
trap 'rm -rf "$objects" "$dir"' EXIT
mv "$objects" "$dir/bearer.o"
ar rcs "$2" "$dir/bearer.o"
