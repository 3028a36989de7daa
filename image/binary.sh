#!/bin/sh
# binary.sh aarch64|x86_64 [EXAMPLE]: builds target/binary/ARCH/genkan, or the example, a static PIE without an interpreter, on musl.
#
# Rust's standard library comes from rustup's musl target where there is one, else it is built from Debian's rust-web-src. The C side (a few
# files of zstd and ring, and the linking) is Debian's gcc with Debian's musl, by two small wrappers: gcc itself knows glibc only.
set -eu

arch=$1
name=${2:-genkan}
case $arch in
    aarch64) debian=arm64 ;;
    x86_64) debian=amd64 ;;
    *) echo "binary.sh: $arch? aarch64 or x86_64" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=$arch-unknown-linux-musl
tools=$root/target/binary/$arch/tools
gcc=$arch-linux-gnu-gcc
musl=$(/usr/bin/python3 -m image.packages musl-dev "$debian")
headers=$musl/usr/include/$arch-linux-musl
libraries=$musl/usr/lib/$arch-linux-musl

# `cc` compiles and never links; `gcc` (rustc knows by the name how to talk to it) links what rustc hands over, between musl's own start files.
mkdir -p "$tools"
cat >"$tools/cc" <<END
#!/bin/sh
exec $gcc -nostdinc -isystem $headers -isystem $($gcc -print-file-name=include) "\$@"
END
cat >"$tools/gcc" <<END
#!/bin/sh
# What rustc thinks of static PIE differs from target to target: here it is always one.
for argument do
    shift
    case \$argument in
        -static | -no-pie | -pie | -static-pie) ;;
        *) set -- "\$@" "\$argument" ;;
    esac
done
exec $gcc -nostdlib -static-pie -Wl,-z,text,-z,relro,-z,now,-z,noexecstack -L$tools -L$libraries -L$(dirname "$($gcc -print-libgcc-file-name)") \\
    $libraries/rcrt1.o $libraries/crti.o $($gcc -print-file-name=crtbeginS.o) "\$@" -lgcc $($gcc -print-file-name=crtendS.o) $libraries/crtn.o
END
chmod +x "$tools/cc" "$tools/gcc"

# Rust's standard library asks for libunwind; gcc's unwinder does the same work.
"$tools/cc" -O2 -fPIC -c image/musl/find_object.c -o "$tools/find_object.o"
cp "$($gcc -print-file-name=libgcc_eh.a)" "$tools/libunwind.a"
"$arch-linux-gnu-ar" rsD "$tools/libunwind.a" "$tools/find_object.o" 2>/dev/null

if rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    cargo=cargo
    std=''
    echo "  $arch by rustup's $target"
else
    cargo=/usr/bin/cargo
    std='-Zbuild-std=std,panic_unwind'
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    echo "  $arch by Debian's $(/usr/bin/rustc --version), with the standard library from source"
fi

# No path of this machine and no time of day may end up in the binary, or two folders would give two binaries.
home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(${RUSTC:-rustc} --print sysroot)
remap="--remap-path-prefix=$root=/genkan --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
upper=$(echo "$target" | tr a-z- A-Z_)
lower=$(echo "$target" | tr - _)
export "CC_$lower=$tools/cc" "AR_$lower=$arch-linux-gnu-ar"
now='-Wno-builtin-macro-redefined -D__DATE__="unknown" -D__TIME__="unknown"'
export "CFLAGS_$lower=-O2 -fPIC -fstack-protector-strong -ffile-prefix-map=$root=/genkan -ffile-prefix-map=$home=/cargo $now"
export "CARGO_TARGET_${upper}_LINKER=$tools/gcc"
export "CARGO_TARGET_${upper}_RUSTFLAGS=-Clink-self-contained=no -Crelocation-model=pie -Ctarget-feature=+crt-static $remap ${GENKAN_RUSTFLAGS:-}"

what="--bin genkan" place=$name
[ "$name" = genkan ] || { what="--example $name" place=examples/$name; }
# shellcheck disable=SC2086
$cargo build --locked --profile "${GENKAN_PROFILE:-card}" $what --target "$target" --target-dir target/binary/build $std
folder=${GENKAN_PROFILE:-card}
[ "$folder" != dev ] || folder=debug
cp "target/binary/build/$target/$folder/$place" "target/binary/$arch/$name"
echo "  target/binary/$arch/$name: $(stat -c %s "target/binary/$arch/$name") bytes"
