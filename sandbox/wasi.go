package sandbox

// hostFunctions are the functions that a module may import, by the module and name that it gives, with their types in the short form of
// parseSignature.
var hostFunctions = map[string]map[string]string{
	"wasi_snapshot_preview1": wasiFunctions(),
	"millrace":               millraceFunctions(),
}

// wasiFunctions returns those of WASI preview 1.
func wasiFunctions() map[string]string {
	types := make(map[string]string)
	for _, c := range wasiCalls {
		types[c.name] = c.signature()
	}
	return types
}
