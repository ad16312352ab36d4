package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHomeLeavesOutEmptyFields renders the page of a server with hardly any configuration. The page
// of a whole server is tested in internal/e2e.
func TestHomeLeavesOutEmptyFields(t *testing.T) {
	s := &Server{cfg: Config{Home: Home{ServiceName: "</title><style>x</style>", ServiceDID: "did:web:pds.test", HandleDomains: []string{".test"}}}}
	w := httptest.NewRecorder()
	s.newHome().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	page := w.Body.String()
	for _, part := range []string{"mailto:", "<ul>", "<footer>", `href=""`} {
		if strings.Contains(page, part) {
			t.Errorf("the page has %s", part)
		}
	}
	if strings.Count(page, "<style>") != 1 || strings.Count(page, "<title>") != 1 {
		t.Errorf("a name is more than text: %s", page)
	}
}

func TestPagesAreReadOnly(t *testing.T) {
	for verb, want := range map[string]int{http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodOptions: 405} {
		w := httptest.NewRecorder()
		Robots().ServeHTTP(w, httptest.NewRequest(verb, "/robots.txt", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", verb, w.Code, want)
		}
	}
}
