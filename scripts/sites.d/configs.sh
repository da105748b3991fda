# shellcheck shell=bash
# Sourced by scripts/sites: the configurations of one webserver, with the advice of share/ in them as an administrator
# would have it. Paths below /var/www are the webserver's own, see webserver.sh.

# Debian's wp-config.php reads it by the host's name.
wordpress_config() { # DATABASE-PORT
    cat <<P
<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', 'wordpress');
define('DB_HOST', '127.0.0.1:$1');
define('WP_CONTENT_DIR', '/var/www/html/wp-content');
// Nobody is to be asked but this machine.
define('DISABLE_WP_CRON', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
P
    for key in AUTH_KEY SECURE_AUTH_KEY LOGGED_IN_KEY NONCE_KEY AUTH_SALT SECURE_AUTH_SALT LOGGED_IN_SALT NONCE_SALT; do
        echo "define('$key', 'the same on all webservers: $key');"
    done
}

fpm_config() { # WEB
    cat <<P
[global]
daemonize = no
error_log = $work/$1/fpm-errors.log
[www]
user = www-data
group = www-data
listen = /var/www/run/php.sock
listen.owner = www-data
pm = static
pm.max_children = 4
catch_workers_output = yes
; So that a whole photo is one upload.
php_admin_value[upload_max_filesize] = 64M
php_admin_value[post_max_size] = 64M
php_admin_value[memory_limit] = 256M
; There is no mail here.
php_admin_value[sendmail_path] = /bin/true
P
}

nginx_config() { # WEB PORT
    local temporary
    cat <<N
user www-data;
worker_processes 1;
daemon off;
pid $work/$1/nginx.pid-of-its-own;
error_log $work/$1/nginx-errors.log;
events {}
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log $work/$1/nginx-access.log;
    client_max_body_size 64m;
N
    for temporary in client_body fastcgi proxy scgi uwsgi; do
        echo "    ${temporary}_temp_path /var/www/tmp/nginx-$temporary;"
    done
    cat <<N
    server {
        listen 127.0.0.1:$2;
        server_name $site;
        root /var/www/html;
        index index.php;
        location / { try_files \$uri \$uri/ /index.php?\$args; }
        location ~ \\.php\$ {
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
            fastcgi_pass unix:/var/www/run/php.sock;
        }
        location ^~ /wp-content/uploads/ { include $root/share/nginx/originfs.conf; }
    }
}
N
}

apache_config() { # WEB PORT
    local module
    cat <<A
ServerRoot $work/$1
DefaultRuntimeDir $work/$1
Mutex file:/var/www/run default
PidFile $work/$1/apache2.pid-of-its-own
ErrorLog $work/$1/apache2-errors.log
ServerName $site
Listen 127.0.0.1:$2
User www-data
Group www-data
A
    for module in mpm_event authz_core mime dir proxy proxy_fcgi; do
        echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
    done
    cat <<A
TypesConfig /etc/mime.types
StartServers 1
ThreadsPerChild 8
MaxRequestWorkers 64
DocumentRoot /var/www/html
DirectoryIndex index.php
<Directory /var/www/html>
    AllowOverride All
    Require all granted
</Directory>
<FilesMatch "\\.php\$">
    SetHandler "proxy:unix:/var/www/run/php.sock|fcgi://localhost"
</FilesMatch>
<Directory /var/www/html/wp-content/uploads>
    Include $root/share/apache2/originfs.conf
</Directory>
A
}

lighttpd_config() { # WEB PORT
    cat <<L
server.modules = ("mod_indexfile", "mod_access", "mod_fastcgi", "mod_cgi", "mod_dirlisting", "mod_staticfile")
server.document-root = "/var/www/html"
server.bind = "127.0.0.1"
server.port = $2
server.username = "www-data"
server.groupname = "www-data"
server.upload-dirs = ("/var/www/tmp")
index-file.names = ("index.php")
include_shell "/usr/share/lighttpd/create-mime.conf.pl"
fastcgi.server = (".php" => ((
    "socket" => "/var/www/run/php.sock",
    "broken-scriptfilename" => "enable",
)))
var.originfs = "^/wp-content/uploads/"
include "$root/share/lighttpd/originfs.conf"
L
}

# One that sends each request to another webserver than the last.
balancer_config() { # PORT WEBSERVER-PORTS...
    local port temporary listen=$1
    shift
    cat <<N
# What it puts aside is below a directory that is root's alone.
user root;
worker_processes 1;
daemon off;
pid $work/balancer.pid-of-its-own;
error_log $work/balancer-errors.log;
events {}
http {
    access_log $work/balancer-access.log;
    client_max_body_size 64m;
N
    for temporary in client_body fastcgi proxy scgi uwsgi; do
        echo "    ${temporary}_temp_path $work/balancer-$temporary;"
    done
    echo "    upstream webservers {"
    for port; do echo "        server 127.0.0.1:$port max_fails=0;"; done
    cat <<N
    }
    server {
        listen 127.0.0.1:$listen;
        location / {
            proxy_pass http://webservers;
            proxy_set_header Host \$host;
            add_header X-Webserver \$upstream_addr always;
        }
    }
}
N
}
