#!/usr/bin/env bash
# Builds the C++ client from Debian's packages: `build.sh FOLDER` leaves FOLDER/souk. `build.sh --check` fails unless
# the tools are there:
#   apt install g++ pkgconf libgrpc++-dev protobuf-compiler-grpc
set -euo pipefail
cd "$(dirname "$0")"

if [ "$1" = --check ]; then
    command -v g++ protoc grpc_cpp_plugin >/dev/null
    exec pkg-config --exists grpc++ protobuf libcrypto
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
proto=$(cd ../../proto && pwd)

# Nothing to do if neither the client nor the contract has changed.
sources=$(sha256sum ./* "$proto"/shopping/v1/*.proto)
if [ -x "$out/souk" ] && [ "$sources" = "$(cat "$out/sources" 2>/dev/null)" ]; then
    exit
fi
cp ./*.h ./*.cc ./*.proto "$out/"
cd "$out"
protoc -I "$proto" -I . --cpp_out=. details.proto "$proto"/shopping/v1/*.proto
protoc -I "$proto" --grpc_out=. --plugin="protoc-gen-grpc=$(command -v grpc_cpp_plugin)" "$proto"/shopping/v1/*_service.proto

# One unit for all messages and one for all services: the headers of gRPC take longer to compile than the contract. Two
# names that are the same in every file of messages get a number.
number=0
for file in details.pb.cc shopping/v1/*.pb.cc; do
    case $file in *.grpc.pb.cc) continue ;; esac
    number=$((number + 1))
    printf '#define schemas schemas%d\n#define file_default_instances instances%d\n' "$number" "$number"
    printf '#include "%s"\n#undef schemas\n#undef file_default_instances\n' "$file"
done >messages.cc
for file in shopping/v1/*.grpc.pb.cc; do printf '#include "%s"\n' "$file"; done >services.cc

for unit in messages services main; do
    g++ -std=c++17 -O0 -I. -c "$unit.cc" -o "$unit.o"
done
# shellcheck disable=SC2046
g++ messages.o services.o main.o -o souk $(pkg-config --libs grpc++ protobuf libcrypto)
printf '%s' "$sources" >sources
