# Varnish refusing a network.
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "@ORIGIN@"; }
acl refused { "127.0.0.0"/8; }
sub vcl_recv {
  if (client.ip ~ refused) { return (synth(403)); }
}
