// Package telemetry is what daemons say of themselves to those who watch them: metrics for Prometheus, and traces for OpenTelemetry. Their types
// stop here. Nothing that is secret, no name of an object, and nothing of what objects hold is a label, an attribute or an event.
package telemetry
