package main

import "testing"

func TestTitle(t *testing.T) {
	if got := title("go modules"); got != "Go Modules" {
		t.Fatalf("got %q", got)
	}
}
