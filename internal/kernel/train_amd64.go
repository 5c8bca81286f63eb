//go:build !purego

package kernel

var trainAVX512 = trainSet{
	expSum:   expSumAVX512,
	largest:  largestAVX512,
	divScale: divScaleAVX512,
	siluBack: siluBackAVX512,
	geluBack: geluBackAVX512,
	combine:  combineAVX512,
	adamW:    adamWAVX512,
}

var trainAVX2 = trainSet{
	expSum:   expSumAVX2,
	largest:  largestAVX2,
	divScale: divScaleAVX2,
	siluBack: siluBackAVX2,
	geluBack: geluBackAVX2,
	combine:  combineAVX2,
	adamW:    adamWAVX2,
}
