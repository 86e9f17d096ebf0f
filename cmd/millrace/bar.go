package main

import (
	"io"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// newBar returns a bar that renders to its String only: who prints it decides when and where.
func newBar(total int64) *progressbar.ProgressBar {
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}),
	)
	_ = bar.RenderBlank()
	return bar
}

// cut returns the first n characters of s, none of which is wider than one column.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n, 0)])
}
