# Made by `originfs cdn rules emit`. Changes are lost when it is made anew; what it is made of
# is the configuration of the mounts: site_url, cdn_url, private, exposure.
# A zone has one ruleset in each phase: rules that are there already, and are not written here, are deleted.

variable "zone_id" {
  type = string
}

resource "cloudflare_ruleset" "originfs_www_cache" {
  zone_id = var.zone_id
  name    = "originfs www: cache rules"
  kind    = "zone"
  phase   = "http_request_cache_settings"
  rules = [
    {
      action = "set_cache_settings"
      action_parameters = {
        browser_ttl = {
          mode = "respect_origin"
        }
        cache = true
        cache_key = {
          cache_deception_armor = true
          ignore_query_strings_order = true
        }
        edge_ttl = {
          default = 2678400
          mode = "override_origin"
        }
        respect_strong_etags = true
        serve_stale = {
          disable_stale_while_updating = false
        }
      }
      description = "originfs: keep uploads"
      enabled = true
      expression = "((http.host eq \"www.example.org\" and (starts_with(http.request.uri.path, \"/images/\") or starts_with(http.request.uri.path, \"/wp-content/uploads/\"))) or (http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\")))"
      ref = "originfs_www_assets"
    },
    {
      action = "set_cache_settings"
      action_parameters = {
        browser_ttl = {
          default = 31536000
          mode = "override_origin"
        }
        cache = true
        edge_ttl = {
          default = 31536000
          mode = "override_origin"
        }
      }
      description = "originfs: keep uploads with a version"
      enabled = true
      expression = "((http.host eq \"www.example.org\" and (starts_with(http.request.uri.path, \"/images/\") or starts_with(http.request.uri.path, \"/wp-content/uploads/\"))) or (http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\"))) and starts_with(http.request.uri.query, \"v=\") and len(http.request.uri.query) eq 14"
      ref = "originfs_www_versioned"
    },
    {
      action = "set_cache_settings"
      action_parameters = {
        cache = false
      }
      description = "originfs: never keep what is private"
      enabled = true
      expression = "((http.host eq \"www.example.org\" and (starts_with(http.request.uri.path, \"/images/\") or starts_with(http.request.uri.path, \"/wp-content/uploads/\"))) or (http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\"))) and (http.request.uri.path wildcard \"*/.*\" or http.request.uri.path wildcard \"*.php\" or http.request.uri.path wildcard \"*.php/*\" or http.request.uri.path wildcard \"*.php*\" or http.request.uri.path wildcard \"*.phps\" or http.request.uri.path wildcard \"*.phps/*\" or http.request.uri.path wildcard \"*.phtml\" or http.request.uri.path wildcard \"*.phtml/*\" or http.request.uri.path wildcard \"*.pht\" or http.request.uri.path wildcard \"*.pht/*\" or http.request.uri.path wildcard \"*.phar\" or http.request.uri.path wildcard \"*.phar/*\" or http.request.uri.path wildcard \"*.inc\" or http.request.uri.path wildcard \"*.inc/*\" or http.request.uri.path wildcard \"*.ini\" or http.request.uri.path wildcard \"*.ini/*\" or http.request.uri.path wildcard \"*.sql\" or http.request.uri.path wildcard \"*.sql/*\" or http.request.uri.path wildcard \"*.sql.*\" or http.request.uri.path wildcard \"*.dump\" or http.request.uri.path wildcard \"*.dump/*\" or http.request.uri.path wildcard \"*.db\" or http.request.uri.path wildcard \"*.db/*\" or http.request.uri.path wildcard \"*.sqlite\" or http.request.uri.path wildcard \"*.sqlite/*\" or http.request.uri.path wildcard \"*.sqlite*\" or http.request.uri.path wildcard \"*.sqlite-*\" or http.request.uri.path wildcard \"*.log\" or http.request.uri.path wildcard \"*.log/*\" or http.request.uri.path wildcard \"*.bak\" or http.request.uri.path wildcard \"*.bak/*\" or http.request.uri.path wildcard \"*.old\" or http.request.uri.path wildcard \"*.old/*\" or http.request.uri.path wildcard \"*.orig\" or http.request.uri.path wildcard \"*.orig/*\" or http.request.uri.path wildcard \"*.swp\" or http.request.uri.path wildcard \"*.swp/*\" or http.request.uri.path wildcard \"*~\" or http.request.uri.path wildcard \"*~/*\" or http.request.uri.path wildcard \"*/web.config\" or http.request.uri.path wildcard \"*/web.config/*\")"
      ref = "originfs_www_private"
    },
    {
      action = "set_cache_settings"
      action_parameters = {
        cache = false
      }
      description = "originfs: never keep what is private"
      enabled = true
      expression = "(http.host eq \"www.example.org\" and http.request.uri.path wildcard \"/wp-content/uploads/woocommerce_uploads/*\")"
      ref = "originfs_www_private2"
    },
  ]
}

resource "cloudflare_ruleset" "originfs_www_tags" {
  zone_id = var.zone_id
  name    = "originfs www: cache response rules"
  kind    = "zone"
  phase   = "http_response_cache_settings"
  rules = [
    {
      action = "set_cache_tags"
      action_parameters = {
        expression = "split(http.response.headers[\"x-amz-meta-cache-tag\"][0], \",\", 64)"
        operation = "add"
      }
      description = "originfs: tags of objects"
      enabled = true
      expression = "(http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\")) and any(http.response.headers.names[*] eq \"x-amz-meta-cache-tag\")"
      ref = "originfs_www_tags"
    },
    {
      action = "set_cache_tags"
      action_parameters = {
        operation = "add"
        values = ["example.org"]
      }
      description = "originfs: the tag of a directory"
      enabled = true
      expression = "(http.host eq \"www.example.org\" and starts_with(http.request.uri.path, \"/images/\"))"
      ref = "originfs_www_tag"
    },
  ]
}

resource "cloudflare_ruleset" "originfs_www_headers" {
  zone_id = var.zone_id
  name    = "originfs www: response header transform rules"
  kind    = "zone"
  phase   = "http_response_headers_transform"
  rules = [
    {
      action = "rewrite"
      action_parameters = {
        headers = {
          "Access-Control-Allow-Origin" = {
            operation = "set"
            value = "*"
          }
          "Set-Cookie" = {
            operation = "remove"
          }
          "X-Content-Type-Options" = {
            operation = "set"
            value = "nosniff"
          }
        }
      }
      description = "originfs: what no bucket can say"
      enabled = true
      expression = "((http.host eq \"www.example.org\" and (starts_with(http.request.uri.path, \"/images/\") or starts_with(http.request.uri.path, \"/wp-content/uploads/\"))) or (http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\")))"
      ref = "originfs_www_headers"
    },
    {
      action = "rewrite"
      action_parameters = {
        headers = {
          "Content-Security-Policy" = {
            operation = "set"
            value = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
          }
        }
      }
      description = "originfs: nothing runs in uploads"
      enabled = true
      expression = "((http.host eq \"www.example.org\" and (starts_with(http.request.uri.path, \"/images/\") or starts_with(http.request.uri.path, \"/wp-content/uploads/\"))) or (http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\"))) and http.request.uri.path.extension in {\"hta\" \"htc\" \"htm\" \"html\" \"mht\" \"mhtml\" \"shtml\" \"svg\" \"svgz\" \"swf\" \"xht\" \"xhtml\" \"xml\" \"xsl\"}"
      ref = "originfs_www_active"
    },
    {
      action = "rewrite"
      action_parameters = {
        headers = {
          "Cross-Origin-Resource-Policy" = {
            operation = "set"
            value = "cross-origin"
          }
        }
      }
      description = "originfs: other hosts may use uploads"
      enabled = true
      expression = "(http.host eq \"cdn.example.org\" and starts_with(http.request.uri.path, \"/images/\"))"
      ref = "originfs_www_shared"
    },
  ]
}
