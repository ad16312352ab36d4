package domaintest

import "strings"

// Pasted returns spellings in which people paste and type a handle or a DID, which is given in
// lower case. The keys describe the spellings.
func Pasted(identifier string) map[string]string {
	all := PastedAnywhere(identifier)
	for name, around := range wrappings {
		all[name] = around(identifier)
	}
	all["a profile's URL, copied with marks and in capitals"] = "\u2068HTTPS://BSKY.APP/profile/" + strings.ToUpper(identifier) + "\u2069 "
	all["everything at once"] = " \u202A\uFF20" + fullWidth(strings.ToUpper(identifier)) + ".\u202C\u00A0"
	if !strings.Contains(identifier, ":") {
		all["a link to the handle"] = "http://" + identifier
		all["a link to the handle with a slash"] = "https://" + identifier + "/"
	}
	return all
}

// PastedAnywhere is like Pasted, but without the spellings that have something around the
// identifier, such as a link. The identifier may also be an e-mail address.
func PastedAnywhere(identifier string) map[string]string {
	first, rest := identifier[:1], identifier[1:]
	return map[string]string{
		"unchanged":                   identifier,
		"capitals":                    strings.ToUpper(identifier),
		"a capital":                   strings.ToUpper(first) + rest,
		"spaces around":               "  " + identifier + " \r\n",
		"no-break spaces around":      "\u00A0" + identifier + "\u202F",
		"a wide space inside":         first + "\u3000" + rest,
		"marks of direction":          "\u202A" + identifier + "\u202C",
		"isolated":                    "\u2068" + identifier + "\u2069",
		"a byte order mark":           "\uFEFF" + identifier,
		"a zero width space inside":   first + "\u200B" + rest,
		"a soft hyphen inside":        first + "\u00AD" + rest,
		"a word joiner inside":        first + "\u2060" + rest,
		"a variation selector inside": first + "\uFE0F" + rest,
		"full-width":                  fullWidth(identifier),
		"full-width capitals":         fullWidth(strings.ToUpper(identifier)),
		"ideographic full stops":      strings.ReplaceAll(identifier, ".", "\u3002"),
		"half-width full stops":       strings.ReplaceAll(identifier, ".", "\uFF61"),
		"a trailing dot":              identifier + ".",
		"a full stop and a space":     identifier + ". ",
	}
}

// wrappings are what may be around a handle or a DID.
var wrappings = map[string]func(string) string{
	"an @":                          func(s string) string { return "@" + s },
	"an @ and a space":              func(s string) string { return " @ " + s },
	"an at:// URI":                  func(s string) string { return "at://" + s },
	"an at:// URI as a phone does":  func(s string) string { return "At://" + s + "/" },
	"an at:// URI of a post":        func(s string) string { return "at://" + s + "/app.bsky.feed.post/3kabc" },
	"a profile's URL":               func(s string) string { return "https://bsky.app/profile/" + s },
	"a profile's URL with a slash":  func(s string) string { return "https://bsky.app/profile/" + s + "/" },
	"the URL of a post":             func(s string) string { return "https://bsky.app/profile/" + s + "/post/3kabc?ref=a@b.c#d" },
	"a profile's URL with a query":  func(s string) string { return "http://localhost:8100/profile/" + s + "?lang=en" },
	"a profile's URL without https": func(s string) string { return "bsky.app/profile/" + s },
	"a profile's URL with an @":     func(s string) string { return "https://bsky.app/profile/@" + s },
	"an escaped profile's URL":      func(s string) string { return "https://bsky.app/profile/" + escaped(s) },
}

// Respell returns an identifier in a random spelling. The function choose returns a random number
// below n.
func Respell(identifier string, choose func(n int, label string) int) string {
	var b strings.Builder
	hidden := []string{"\u200B", "\u200D", "\u00AD", "\u2060", "\uFEFF", "\u200F", "\u202E", "\uFE0E", "\u00A0", "\u3000", "\U000E0020"}
	for _, c := range identifier {
		switch choose(8, "a character") {
		case 1:
			b.WriteString(strings.ToUpper(string(c)))
		case 2:
			b.WriteString(fullWidth(string(c)))
		case 3:
			b.WriteString(string(c) + hidden[choose(len(hidden), "hidden after it")])
		case 4:
			b.WriteString(hidden[choose(len(hidden), "hidden before it")] + fullWidth(strings.ToUpper(string(c))))
		default:
			b.WriteRune(c)
		}
	}
	spelt := b.String()
	for range choose(3, "trailing dots") {
		spelt += "."
	}
	if !strings.Contains(identifier, "@") {
		switch choose(6, "around it") {
		case 1:
			spelt = "@" + spelt
		case 2:
			spelt = "at://" + spelt
		case 3:
			spelt = "at\uFF1A//@" + spelt + "/app.bsky.feed.post/3k"
		case 4:
			spelt = "https://bsky.app/profile/" + spelt + "/lists/x"
		case 5:
			spelt = "bsky.app/profile/" + spelt + "?x=y"
		}
	}
	around := []string{"", " ", "\u00A0", "\t", "\u2067", "\n"}
	return around[choose(len(around), "before")] + spelt + around[choose(len(around), "after")]
}

// fullWidth replaces ASCII characters with their full-width forms.
func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		if '!' <= r && r <= '~' {
			return r - '!' + '\uFF01'
		}
		return r
	}, s)
}

// escaped percent-encodes an identifier as JavaScript's encodeURIComponent does.
func escaped(s string) string {
	return strings.NewReplacer(":", "%3A", "@", "%40", "%", "%25").Replace(s)
}
