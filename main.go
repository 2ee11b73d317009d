// Package main is the Dagger module.
package main

// Pipeline is the pipeline.
type Pipeline struct{}

// Hello says hello.
func (m *Pipeline) Hello() string { return "hello" }
