// Package web serves what people see of a server in a browser: its home page and robots.txt. It has
// no rules of its own.
//
// Pages are made with html/template. They run no scripts, load nothing and can't be framed: their
// Content-Security-Policy allows only their own style sheet.
package web
