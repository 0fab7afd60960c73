#!/usr/bin/env bash
# Builds the Go client from Debian's packages: `build.sh FOLDER` leaves FOLDER/souk. `build.sh --check` fails unless the
# tools are there:
#   apt install golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go protoc-gen-go-grpc
set -euo pipefail
cd "$(dirname "$0")"

if [ "$1" = --check ]; then
    [ -d /usr/share/gocode/src/google.golang.org/grpc ] && [ -d /usr/share/gocode/src/google.golang.org/protobuf ]
    exec sh -c 'command -v go protoc protoc-gen-go protoc-gen-go-grpc' >/dev/null
fi
mkdir -p "$1/src/souk"
out=$(cd "$1" && pwd)
proto=$(cd ../../proto && pwd)
cp ./*.go "$out/src/souk/"

# All messages go into one package, whatever the contract says of its own.
options=()
for file in "$proto"/shopping/v1/*.proto; do
    name=shopping/v1/$(basename "$file")
    options+=("--go_opt=M$name=souk/pb;pb" "--go-grpc_opt=M$name=souk/pb;pb")
done
protoc -I "$proto" --go_out="$out/src" --go-grpc_out="$out/src" "${options[@]}" "$proto"/shopping/v1/*.proto

cd "$out/src/souk"
GO111MODULE=off GOFLAGS='' GOPATH=$out:/usr/share/gocode GOCACHE=$out/cache go build -o "$out/souk" .
