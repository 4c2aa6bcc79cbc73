#!/bin/sh
# Make the two fonts from the ones that the packages @fontsource-variable/inter and /jetbrains-mono (5.3.0) hold: Latin
# only, the weights that the pages use, figures of one width. Needs fonttools and brotli; run it in a folder in which
# these packages are installed: sh make.sh node_modules/@fontsource-variable FOLDER
set -eu
export SOURCE_DATE_EPOCH=1795219200 # the same bytes whenever they are made
signs=U+0020-007E,U+00A0-00FF,U+0131,U+0152-0153,U+2013-2014,U+2018-201A,U+201C-201E,U+2020-2022,U+2026,U+2030,U+2039-203A,U+20AC,U+2122,U+2190-2193,U+2212,U+2318,U+21E7,U+FFFD
fonttools varLib.instancer -q "$1/inter/files/inter-latin-wght-normal.woff2" wght=400:650 -o inter.ttf
# Figures of one width, and nothing else of it: hyphens and letters between them stay as they are.
python3 - <<'END'
from fontTools.ttLib import TTFont

font = TTFont("inter.ttf")
figures = {font.getBestCmap()[ord(sign)] for sign in "0123456789"}
substitutions = font["GSUB"].table
lookups = {at for each in substitutions.FeatureList.FeatureRecord if each.FeatureTag == "tnum" for at in each.Feature.LookupListIndex}
for at in lookups:
    for table in substitutions.LookupList.Lookup[at].SubTable:
        table = getattr(table, "ExtSubTable", table)
        table.mapping = {plain: wide for plain, wide in table.mapping.items() if plain in figures}
font.save("inter.ttf")
END
pyftsubset inter.ttf --unicodes="$signs" --layout-features=kern,mark,mkmk,ccmp,locl,calt,tnum,case --flavor=woff2 --output-file="$2/inter.woff2"
fonttools varLib.instancer -q "$1/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2" wght=400:600 -o mono.ttf
# Without calt: what a program says is shown letter by letter.
pyftsubset mono.ttf --unicodes="$signs,U+2500-257F,U+2580-259F" --layout-features=kern,mark,mkmk,ccmp,locl --flavor=woff2 --output-file="$2/jetbrains-mono.woff2"
rm inter.ttf mono.ttf
