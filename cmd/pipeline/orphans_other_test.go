//go:build !linux

package main

import "testing"

func adoptOrphans() {}

func orphans(*testing.T) []string { return nil }
