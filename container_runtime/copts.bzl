"""Compiler options of the libraries that make up cradle."""

# A container's start is over before any loop of ours gets hot: what counts is how much of the program the
# kernel has to map. Sections let the linker leave out what nobody calls.
SMALL = ["-Os", "-ffunction-sections", "-fdata-sections"]
