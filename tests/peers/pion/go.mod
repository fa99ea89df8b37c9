module parlour-pion-peer
