// Package quant turns rows of weights into the block formats of GGUF files and
// back, and makes whole quantised files.
//
// Call [Dequantize] and [Quantize] for rows, [ParseRecipe] and [QuantizeFile]
// for a file, and [Synthetic] for a file of random weights in one of the shapes
// that speed is measured on.
//
// All arithmetic is exact or has one stated rounding, so the bytes that come
// out are the same on every machine and with every number of threads. The
// package does not multiply matrices: that is internal/kernel.
package quant
