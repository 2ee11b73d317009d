package finding

import "fmt"

// Count is a number of things, for people: 1 row, 2 rows.
func Count[T ~int | ~int64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
