package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"

	"github.com/metaextract/pipeline/internal/config"
)

// Request is one request, ready to be sent any number of times.
type Request struct {
	Name        string
	Method      string
	Path        string // with its query
	Headers     map[string]string
	Body        []byte
	ContentType string
	Expect      int // status; 0: any below 400
}

// Accepts says whether a status is what the request expects.
func (r Request) Accepts(status int) bool {
	if r.Expect != 0 {
		return status == r.Expect
	}
	return status < http.StatusBadRequest
}

// reads says whether the request leaves the application as it was.
func (r Request) reads() bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
}

// FromConfig makes the requests of pipeline.yaml ready: bodies are encoded and files read from fsys once. All mistakes
// are in the error.
func FromConfig(fsys fs.FS, requests []config.Request) ([]Request, error) {
	var ready []Request
	var problems []error
	for i, request := range requests {
		r, err := fromConfig(fsys, request)
		if err != nil {
			problems = append(problems, fmt.Errorf("rehearsal.requests[%d] %s: %w", i, r.Name, err))
			continue
		}
		ready = append(ready, r)
	}
	return ready, errors.Join(problems...)
}

func fromConfig(fsys fs.FS, request config.Request) (Request, error) {
	ready := Request{
		Name: request.Name, Method: strings.ToUpper(request.Method), Path: request.Path,
		Headers: request.Headers, Expect: request.Expect,
	}
	if ready.Method == "" {
		ready.Method = http.MethodGet
	}
	if ready.Name == "" {
		ready.Name = ready.Method + " " + ready.Path
	}
	if !strings.HasPrefix(ready.Path, "/") {
		return ready, fmt.Errorf("path %q does not begin with a slash; write %q", ready.Path, "/"+ready.Path)
	}
	bodies := 0
	for _, given := range []bool{request.Body != "", request.JSON != nil, request.File != nil} {
		if given {
			bodies++
		}
	}
	if bodies > 1 {
		return ready, errors.New("it has more than one of body, json and file; keep one")
	}
	var err error
	switch {
	case request.Body != "":
		ready.Body = []byte(request.Body)
		ready.ContentType = "text/plain; charset=utf-8"
	case request.JSON != nil:
		ready.ContentType = "application/json"
		if ready.Body, err = json.Marshal(request.JSON); err != nil {
			return ready, fmt.Errorf("json: %w; use text keys and plain values", err)
		}
	case request.File != nil:
		ready.Body, ready.ContentType, err = upload(fsys, *request.File)
	}
	return ready, err
}

// boundary separates the parts of an upload. It is fixed, so that one file makes one body byte for byte, and long enough
// to be in no file by accident; that it is not is checked.
const boundary = "pipeline-rehearsal-3c1f6a8e52b94d07a1d2"

// upload is a file as a form would send it.
func upload(fsys fs.FS, file config.File) (body []byte, contentType string, err error) {
	name := path.Clean(file.Path)
	if !fs.ValidPath(name) {
		return nil, "", fmt.Errorf("file %s is outside the application's root; move it inside", file.Path)
	}
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, "", fmt.Errorf("read the file to upload: %w; paths are relative to %s", err, config.FileName)
	}
	if bytes.Contains(content, []byte(boundary)) {
		return nil, "", fmt.Errorf("file %s contains %q, which separates the parts of an upload; use another file", file.Path, boundary)
	}
	field := file.Field
	if field == "" {
		field = "file"
	}
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	if err := writer.SetBoundary(boundary); err != nil {
		return nil, "", err
	}
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", multipart.FileContentDisposition(field, path.Base(name)))
	// The type comes from the bytes: mime.TypeByExtension answers what this machine's tables say.
	header.Set("Content-Type", http.DetectContentType(content))
	part, err := writer.CreatePart(header)
	if err != nil {
		return nil, "", err
	}
	_, err = part.Write(content)
	err = errors.Join(err, writer.Close())
	return form.Bytes(), writer.FormDataContentType(), err
}

// To is the request as net/http sends it to a base URL.
func (r Request) To(ctx context.Context, base string) (*http.Request, error) {
	var body io.Reader
	if len(r.Body) > 0 {
		body = bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, strings.TrimSuffix(base, "/")+r.Path, body)
	if err != nil {
		return nil, err
	}
	if r.ContentType != "" {
		request.Header.Set("Content-Type", r.ContentType)
	}
	for name, value := range r.Headers {
		request.Header.Set(name, value)
		if strings.EqualFold(name, "Host") {
			request.Host = value
		}
	}
	return request, nil
}

// split parts the requests into those that read and those that write.
func split(requests []Request) (reads, writes []Request) {
	for _, r := range requests {
		if r.reads() {
			reads = append(reads, r)
		} else {
			writes = append(writes, r)
		}
	}
	return reads, writes
}
