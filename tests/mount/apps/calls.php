<?php
// What PHP's own functions do in a mount. One call names the step and the directory; it prints JSON.
error_reporting(E_ALL);
set_error_handler(function ($level, $message) {
    if (error_reporting() & $level) {
        fwrite(STDERR, $message . "\n");
    }
    return true;
});

[, $step, $dir] = $argv;
chdir($dir);

$steps = [
    // As move_uploaded_file does it when the upload is on another device.
    'move' => function () {
        $upload = tempnam('/tmp', 'php');
        file_put_contents($upload, str_repeat('photo', 10000));
        return [file_exists('photo.jpg'), rename($upload, 'photo.jpg'), chmod('photo.jpg', 0644), file_exists($upload),
            filesize('photo.jpg')];
    },
    'copy' => fn() => [copy('photo.jpg', 'copy.jpg'), md5_file('copy.jpg') === md5_file('photo.jpg')],
    'rename' => fn() => [rename('copy.jpg', 'renamed.jpg'), file_exists('copy.jpg'), filesize('renamed.jpg')],
    'touch' => fn() => [touch('touched', 1700000000), filemtime('touched'), filesize('touched')],
    'again' => fn() => [touch('touched', 1600000000), filemtime('touched')],
    'tempnam' => function () {
        $name = tempnam(getcwd(), 'tmp');
        return [dirname($name) === getcwd(), file_put_contents($name, 'css'), rename($name, 'style.css'),
            chmod('style.css', 0644), decoct(fileperms('style.css')), file_get_contents('style.css')];
    },
    'lock' => fn() => [file_put_contents('locked', 'first and long', LOCK_EX), file_put_contents('locked', 'second', LOCK_EX),
        file_get_contents('locked')],
    'x' => function () {
        $first = fopen('exclusive', 'x');
        $second = @fopen('exclusive', 'x');
        return [$first !== false, $second, fwrite($first, 'mine'), fclose($first)];
    },
    'c' => function () {
        $file = fopen('locked', 'c+');
        return [flock($file, LOCK_EX), fread($file, 100), ftruncate($file, 3), fclose($file), file_get_contents('locked')];
    },
    'append' => fn() => [file_put_contents('log', "a\n", FILE_APPEND), file_put_contents('log', "b\n", FILE_APPEND),
        file_get_contents('log')],
    'list' => fn() => array_values(array_diff(scandir('.'), ['.', '..'])),
    'glob' => fn() => glob('*.jpg'),
    'mkdir' => fn() => [mkdir('a/b/c', 0755, true), is_dir('a/b/c'), mkdir('a'), rmdir('a'), is_dir('a')],
    'look' => fn() => [is_writable('.'), is_writable('photo.jpg'), is_readable('photo.jpg'), disk_free_space('.') > 2048],
    'unlink' => fn() => array_map('unlink', ['photo.jpg', 'renamed.jpg', 'touched', 'style.css', 'locked', 'exclusive', 'log']),
    'remove' => fn() => [rmdir('a/b/c'), rmdir('a/b'), rmdir('a'), file_exists('a')],
];

echo json_encode($steps[$step]());
