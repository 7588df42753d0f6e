// Prints a greeting in the style of a language's titles.
package main

import (
	"fmt"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

func title(text string) string {
	return cases.Title(language.English).String(text)
}

func main() {
	fmt.Println(title("hello from a berth"))
}
