#!/bin/sh
# packaging/deb.sh DIRECTORY: build the Debian packages of this tree into a directory.
#
#     libproactor1        component runtime
#     libproactor-dev     component dev
#     proactor-tools      component tools
#
# No make, no debhelper and no root: CMake stages each component, the tools of dpkg-dev work out what
# depends on what, dpkg-deb packs.  What Debian wants to know is in packaging/debian.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
umask 022
export LC_ALL=C

rm -rf "$out/source" "$out/stage" "$out"/*.deb
mkdir -p "$out/source" "$out/stage"
cp -r "$root/packaging/debian" "$out/source/debian"
cd "$out/source" # where the tools of dpkg-dev look for debian/control

changelog() { dpkg-parsechangelog -S "$1"; }
architecture() { dpkg-architecture -q "DEB_HOST_$1"; }
SOURCE_DATE_EPOCH=$(changelog Timestamp)
export SOURCE_DATE_EPOCH
upstream=$(changelog Version | sed 's/-[^-]*$//')
triplet=$(architecture MULTIARCH)

# ---- build -------------------------------------------------------------------------------------

version=$(sed -n 's/^project(proactor VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
if [ "$version" != "$upstream" ]; then
    echo "deb: packaging/debian/changelog is of $upstream, the tree is $version" >&2
    exit 1
fi
export DEB_BUILD_MAINT_OPTIONS=hardening=+all
flags() { dpkg-buildflags --get "$1"; }
cmake -S "$root" -B "$out/build" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR="lib/$triplet" \
    -DCMAKE_C_FLAGS="$(flags CFLAGS) $(flags CPPFLAGS) -ffile-prefix-map=$root=." \
    -DCMAKE_SHARED_LINKER_FLAGS="$(flags LDFLAGS)" -DCMAKE_EXE_LINKER_FLAGS="$(flags LDFLAGS)" \
    -DPROACTOR_LTO=ON -DBUILD_SHARED_LIBS=ON >/dev/null
ninja -C "$out/build" --quiet proactor_shared proactor_static proactor_strict proactor_strict_shared pro-echo

# ---- stage -------------------------------------------------------------------------------------

# stage PACKAGE COMPONENT
stage()
{
    dir=$out/stage/$1
    DESTDIR=$dir cmake --install "$out/build" --component "$2" >/dev/null
    doc=$dir/usr/share/doc/$1
    mkdir -p "$doc" "$dir/DEBIAN"
    cp debian/copyright "$doc"
    cp debian/changelog "$doc/changelog.Debian"
    cp "$root/CHANGELOG.md" "$doc/changelog"
    gzip -9n "$doc"/changelog*
    find "$dir/usr" -path '*/man/*' -type f -exec gzip -9n {} +
}
stage libproactor1 runtime
stage libproactor-dev dev
stage proactor-tools tools
mkdir "$out/stage/libproactor-dev/usr/share/doc/libproactor-dev/examples"
cp "$root"/examples/*.c "$out/stage/libproactor-dev/usr/share/doc/libproactor-dev/examples"

cd "$out/stage"
strip --strip-unneeded --remove-section=.comment --remove-section=.note \
    "libproactor1/usr/lib/$triplet"/lib*.so.*.* proactor-tools/usr/bin/*
strip --strip-debug --remove-section=.comment --remove-section=.note \
    --enable-deterministic-archives "libproactor-dev/usr/lib/$triplet"/*.a
cd "$out/source"

# ---- what depends on what ----------------------------------------------------------------------

library=$out/stage/libproactor1
dpkg-gensymbols -plibproactor1 -P"$library" -c4
echo "libproactor 1 libproactor1 (>= $upstream)" >"$library/DEBIAN/shlibs"
echo activate-noawait ldconfig >"$library/DEBIAN/triggers"

# control PACKAGE [FILE]...: its control file; its dependencies are the libraries that the files need.
control()
{
    package=$1
    vars=debian/$1.substvars
    shift
    case $package in # liburing is inside
        lib*) dpkg-query -W -f 'static:Built-Using=${source:Package} (= ${source:Version})\n' \
            liburing-dev >"$vars" || true ;;
    esac
    [ $# = 0 ] || dpkg-shlibdeps -T"$vars" -S"$library" "$@"
    dpkg-gencontrol -p"$package" -P"$out/stage/$package" -T"$vars"
}
control libproactor1 "$library/usr/lib/$triplet"/lib*.so.1
control libproactor-dev
control proactor-tools "$out/stage/proactor-tools/usr/bin"/*

# ---- pack --------------------------------------------------------------------------------------

for dir in "$out/stage"/*; do
    chmod -R u=rwX,go=rX "$dir"
    (cd "$dir" && find usr -type f | sort | xargs md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group --build "$dir" "$out" >/dev/null
done
