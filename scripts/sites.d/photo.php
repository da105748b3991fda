<?php
// photo.php SEED FILE: a photo of 3000 by 2000 pixels, about 2 MB; other shapes for another seed.
mt_srand((int) $argv[1]);
$photo = imagecreatetruecolor(3000, 2000);
for ($n = 0; $n < 4000; $n++) {
    $colour = imagecolorallocate($photo, mt_rand(0, 255), mt_rand(0, 255), mt_rand(0, 255));
    $size = mt_rand(10, 400);
    imagefilledellipse($photo, mt_rand(0, 3000), mt_rand(0, 2000), $size, mt_rand(10, 400), $colour);
}
exit(imagejpeg($photo, $argv[2], 90) ? 0 : 1);
