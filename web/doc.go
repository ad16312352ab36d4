// Package web serves what people see of a server in a browser. It has no rules of its own.
//
// Pages are made with html/template, run no scripts, load nothing from elsewhere and stand in no
// frame: their Content-Security-Policy allows nothing but their own style.
package web
