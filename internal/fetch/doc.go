// Package fetch gets JSON documents of other servers whose addresses are chosen by strangers: the
// metadata of OAuth clients and their keys. It connects to public addresses only, follows no
// redirects, and bounds the size of an answer, its time, and how many requests are under way, in
// all and at one site.
package fetch
