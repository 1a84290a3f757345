from mgc_jax.datasets.track import Track


def test_artist_is_normalised():
  one = Track('t', 'p', 'jazz', artist='Bjo\u0308rk ')
  assert one == Track('t', 'p', 'jazz', artist='BJÖRK')
  assert one.artist == 'björk'
  assert Track('t', 'p', 'jazz', artist='Various Artists').artist == ''
