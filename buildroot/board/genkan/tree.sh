# shellcheck shell=sh
# Read by the scripts beside it: goes to genkan's tree, whose image/ makes the card, and says where its output goes.

if ! python3 -c 'import tomllib' 2>/dev/null; then
	echo "genkan: $(command -v python3 || echo python3) is older than 3.11: set BR2_PACKAGE_HOST_PYTHON3=y, and Buildroot builds its own" >&2
	exit 1
fi
GENKAN_OUT=$BINARIES_DIR/genkan
export GENKAN_OUT
cd "$BR2_EXTERNAL_GENKAN_PATH/.." || exit
