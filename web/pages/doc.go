// Package pages renders the pages that people see in a browser: signing in, consent, the
// applications with access, and errors. It knows nothing of HTTP and makes no decisions: package
// web fills in the data of a page, such as [Consent], and [Set.Render] makes HTML of it.
//
// The pages are html/template files. They work without JavaScript, with which forms are sent only
// once when a button is pressed twice, hold no inline styles and scripts, and load nothing but the
// assets of this package, so that a Content-Security-Policy can forbid everything else. Their texts
// come from a catalogue of golang.org/x/text, with one JSON file per language (see [Config.Texts]).
//
// An embedding program can replace each template, each asset and each text: see [Config]. What it
// replaces is tried by [New], so that mistakes show when the program starts.
package pages
