package tamper_test
var traceLies, openingLies, formLies []lie
