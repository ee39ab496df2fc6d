#!/usr/bin/env bash
# Makes every figure and number of the book again, in quick size, and fails if a claim does not hold.
#
#   book/build.sh [FOLDER]        results go to FOLDER, target/book where none is given
#
# What the book shows is of full size: book/results/NAME holds it, with the command that made it.
# CIFAR-10, Fashion-MNIST and the pretrained ResNets are read from the folders that CIFAR10, FASHION_MNIST and
# PRETRAINED name, from cifar10, fashion_mnist and pretrained_cifar10 in ../shared/data where they name none.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/book}
cifar10=${CIFAR10:-../shared/data/cifar10}
fashion_mnist=${FASHION_MNIST:-../shared/data/fashion_mnist}
pretrained=${PRETRAINED:-../shared/data/pretrained_cifar10}

cargo build --release --quiet
deeplimit() {
    echo "deeplimit $*" >&2
    "${CARGO_TARGET_DIR:-target}/release/deeplimit" "$@"
}

rm -rf "$out"
for name in approximation linear adjoint-order estimate failure memory large-depth mean-ode exponent regularisation gamma scaling; do
    deeplimit experiment "$name" --quick --out "$out/$name"
done
if [ -e "$cifar10" ]; then
    deeplimit experiment depth-sweep --quick --data "$cifar10" --out "$out/depth-sweep"
    deeplimit experiment depth-sweep --paper --quick --data "$cifar10" --out "$out/depth-sweep-paper"
    deeplimit experiment images --quick --data "$cifar10" --out "$out/images"
else
    echo "skipped: depth-sweep and images, $cifar10 is not there" >&2
fi
weights=$(find "$pretrained" -name 'resnet56*.th' 2>/dev/null | head -n 1 || true)
if [ -n "$weights" ] && [ -e "$cifar10" ]; then
    transfer=()
    [ -e "$fashion_mnist" ] && transfer=(--transfer "$fashion_mnist")
    deeplimit experiment finetune --quick --weights "$weights" --data "$cifar10" "${transfer[@]}" --out "$out/finetune"
else
    echo "skipped: finetune, $pretrained/resnet56*.th and $cifar10 are not both there" >&2
fi

# The networks of the chapter on diagnosis.
deeplimit train --out "$out/digits"
deeplimit diagnose "$out/digits" --out "$out/diagnosis"

# The network of the chapter on depth.
deeplimit train --out "$out/spline" --set 'network.stage.0.control={basis="spline",coefficients=8}'
deeplimit evaluate "$out/spline" --depth 16,64,256,1024,limit

# The runs of the chapter on refinement, shorter.
deeplimit train --out "$out/shallow" --set network.stage.0.depth=8 --set train.epochs=2
deeplimit refine "$out/shallow" --depth 64 --epochs 3 --out "$out/deep"
deeplimit train --resume "$out/deep"
deeplimit train --out "$out/refined" --set "train.refine=[[0,8],[1,16],[2,64]]" --set train.epochs=3

# Every link and image of the book leads somewhere.
missing=0
while IFS=: read -r file link; do
    target="$(dirname "$file")/${link%%#*}"
    if [ "${link%%#*}" != "" ] && [ ! -e "$target" ]; then
        echo "$file: $link leads nowhere" >&2
        missing=1
    fi
done < <(grep -roP '\]\(\K(?!https?:|#)[^)\s]+' book/src README.md docs --include=*.md)
[ "$missing" = 0 ]

if command -v mdbook >/dev/null; then
    mdbook build book --dest-dir "$PWD/$out/html"
else
    echo "the book was not rendered: mdbook is not installed" >&2
fi
