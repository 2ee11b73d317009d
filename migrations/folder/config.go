package folder

import "github.com/metaextract/pipeline/internal/config"

// FromConfig are the options that pipeline.yaml gives.
func FromConfig(db *config.Database) Options {
	o := Options{Dir: db.Migrations, Format: Format(db.Format)}
	for _, a := range db.Accept {
		o.Accept = append(o.Accept, Accept{File: a.File, After: a.After})
	}
	return o
}
