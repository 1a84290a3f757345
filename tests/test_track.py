from mgc_jax.datasets.track import Track


def test_a_track_has_its_artist_as_artists_are_compared():
  one = Track('t', 'p', 'jazz', artist='Bjo\u0308rk ')
  assert one == Track('t', 'p', 'jazz', artist='BJÖRK')
  assert one.artist == 'björk'
  assert Track('t', 'p', 'jazz', artist='Various Artists').artist == ''
