# Varnish as a newsroom's cache. Out of the box it caches nothing for a reader with cookies; analytics cookies change no page.
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "@ORIGIN@"; }
sub vcl_recv {
  unset req.http.Cookie;
}
