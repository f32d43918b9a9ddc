//go:build tools

// Package tools names the program that `make tools` builds, so that go.mod and go.sum pin it and all it is made of.
package tools

import _ "github.com/owasp-amass/amass/v4/cmd/amass"
