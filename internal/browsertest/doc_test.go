// Package browsertest tests the pages of the authorization server as people use them: in Debian's
// Chromium, without a window, driven through the Chrome DevTools Protocol.
//
// A test opens pages with [open], in a browser context of its own, which has no cookies. Each page
// is watched while it is open: a message in the console that says that something is wrong, an
// exception, a violation of the Content-Security-Policy and a request that leaves this machine fail
// the test. [page.check] has axe-core look for what keeps people with disabilities out.
//
// The tests are skipped in short mode, and where there is no Chromium, or no node_modules: run
// `npm ci` in this directory, or `make browser`. With GATEHOUSE_TEST_BROWSER=1 that fails them
// instead. With GATEHOUSE_SCREENSHOTS=DIR they write pictures of the pages there.
package browsertest
